"""A CoAP server of aiocoap's: GET and PUT of one small resource, kept in memory.

Arguments: the port to listen on, at 127.0.0.1.
"""

import asyncio
import sys

import aiocoap
from aiocoap import resource


class Value(resource.Resource):
    content = b"22.3 C"

    async def render_get(self, request):
        return aiocoap.Message(payload=self.content)

    async def render_put(self, request):
        self.content = request.payload
        return aiocoap.Message(code=aiocoap.CHANGED)


async def main():
    site = resource.Site()
    site.add_resource(["value"], Value())
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", int(sys.argv[1])))
    await asyncio.get_running_loop().create_future()


asyncio.run(main())
