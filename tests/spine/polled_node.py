"""A CoAP node by aiocoap, with what a gateway can ask for.

polled_node.py PORT STATE    what /state is; it is told every half a second
"""

import asyncio
import logging
import sys

import aiocoap
import aiocoap.resource as resource


class Fixed(resource.Resource):
    """A representation that stays, with an ETag."""

    def __init__(self, payload, content_format, **attributes):
        super().__init__()
        self.payload, self.content_format, self.attributes = payload, content_format, attributes

    def get_link_description(self):
        return self.attributes

    async def render_get(self, request):
        response = aiocoap.Message(payload=self.payload, content_format=self.content_format)
        resource.hashing_etag(request, response)
        return response


class State(resource.ObservableResource):
    def __init__(self, state):
        super().__init__()
        self.state, self.told = state, 0

    def get_link_description(self):
        return {"rt": "state", "obs": None}

    async def tell(self):
        while True:
            await asyncio.sleep(0.5)
            self.told += 1
            self.updated_state()

    async def render_get(self, request):
        text = f"{self.state} {self.told}"
        return aiocoap.Message(payload=text.encode(), content_format=0, max_age=1)


async def main():
    port, state = int(sys.argv[1]), sys.argv[2]
    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    # RFC 8428 §6: [{0: "temp", 1: "Cel", 2: 23.1}, {0: "ok", 4: true}]
    pack = bytes.fromhex("82a3006474656d70016343656c02fb403719999999999aa200626f6b04f5")
    site.add_resource(["pack"], Fixed(pack, 112, rt="pack", ct="112"))
    records = ",".join(f'{{"n":"v{i}","v":{i}}}' for i in range(300))
    site.add_resource(["big"], Fixed(f"[{records}]".encode(), 110, rt="big"))
    site.add_resource(["cbor"], Fixed(b"\x01", 60, rt="other"))
    observable = State(state)
    site.add_resource(["state"], observable)
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port))
    print("ready", flush=True)
    await observable.tell()


logging.basicConfig(level=logging.ERROR)
asyncio.run(main())
