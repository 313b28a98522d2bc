"""A node by aiocoap that registers with a resource directory; a line for each step.

node.py NAME HOST PORT register    by a Registerer, which removes it at the end
node.py NAME HOST PORT simple      by POST to /.well-known/rd

HOST is that of the gateway and of the node, PORT the gateway's. After the registration the node
posts readings without a name and ends when standard input does.
"""

import asyncio
import sys

import aiocoap
from aiocoap.resource import Resource, Site, WKCResource
from aiocoap.resourcedirectory.client.register import Registerer


class Temperature(Resource):
    rt = "temperature-c"

    async def render_get(self, request):
        return aiocoap.Message(payload=b"21.5")


async def post(context, uri, **options):
    request = aiocoap.Message(code=aiocoap.POST, uri=uri, **options)
    response = await context.request(request).response
    print(response.code.dotted, response.payload.decode(), flush=True)


async def main():
    name, host, port, how = sys.argv[1:]
    gateway = f"coap://{host}:{port}"
    site = Site()
    site.add_resource(["temp"], Temperature())
    site.add_resource([".well-known", "core"], WKCResource(site.get_resources_as_linkheader))
    # The port is that of the system's choice.
    context = await aiocoap.Context.create_server_context(site, bind=(host, 0))
    if how == "simple":
        await post(context, f"{gateway}/.well-known/rd?ep={name}&lt=600")
    else:
        registerer = Registerer(
            context, rd=gateway, lt=600, registration_parameters={"ep": name, "et": "test"}
        )
        while registerer.state != "registered":
            if registerer.state == "failed":
                sys.exit("it cannot register")
            await asyncio.sleep(0.05)
        print("registered", flush=True)
    pack = b'[{"n":"t","v":21.5}]'
    await post(context, f"{gateway}/r", content_format=110, payload=pack)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    if how == "register":
        await registerer.shutdown()
    print("ended", flush=True)
    await context.shutdown()


asyncio.run(main())
