"""A CoAP node by aiocoap that can be told something, and prints what it is told.

ordered_node.py PORT GATEWAY NAME HOW    HOW is `post` (a reading), `register` or `wait`

SIGUSR1 answers what /slow holds back, SIGUSR2 changes /state.
"""

import asyncio
import logging
import signal
import sys

import aiocoap
import aiocoap.resource as resource
from aiocoap import Code, Message


def show(request, what):
    number = request.opt.content_format
    content_format = "-" if number is None else int(number)
    payload = request.payload if len(request.payload) < 200 else f"{len(request.payload)} bytes".encode()
    print(f"{request.code} {what} {content_format} {payload.hex()}", flush=True)


class Valve(resource.Resource):
    """Takes everything."""

    async def render(self, request):
        show(request, "valve")
        if request.code == Code.FETCH:
            return Message(code=Code.CONTENT, payload=b'{"position":40}', content_format=50)
        return Message(code=Code.CHANGED)


class Big(resource.Resource):
    """Answers with what it was told, twice."""

    async def render_post(self, request):
        show(request, "big")
        return Message(code=Code.CHANGED, payload=request.payload * 2, content_format=0)


class Broken(resource.Resource):
    async def render_put(self, request):
        show(request, "broken")
        return Message(code=Code.CONFLICT, payload=b"the valve is stuck")


class Busy(resource.Resource):
    """Not now."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    async def render_post(self, request):
        show(request, "busy")
        self.asked += 1
        if self.asked == 1:
            return Message(code=Code.SERVICE_UNAVAILABLE, max_age=1, payload=b"calibrating")
        return Message(code=Code.CHANGED)


class Slow(resource.Resource):
    """Answers when it is let."""

    def __init__(self):
        super().__init__()
        self.go = asyncio.Event()

    async def render(self, request):
        show(request, "slow")
        await self.go.wait()
        return Message(code=Code.CHANGED)


class State(resource.ObservableResource):
    def __init__(self):
        super().__init__()
        self.state = 0

    def change(self):
        self.state += 1
        self.updated_state()

    async def render_get(self, request):
        show(request, f"state-{request.opt.observe}")
        return Message(payload=str(self.state).encode(), content_format=0, max_age=600)


async def main():
    port, gateway, name, how = int(sys.argv[1]), *sys.argv[2:]
    slow, state = Slow(), State()
    site = resource.Site()
    resources = {"valve": Valve(), "big": Big(), "broken": Broken(), "busy": Busy(), "slow": slow, "state": state}
    for path, served in resources.items():
        site.add_resource([path], served)
    context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port))
    if how == "post":
        reading = Message(code=Code.POST, uri=f"coap://{gateway}/r/{name}/temp", payload=b"21.5", content_format=0)
        print((await context.request(reading).response).code, "posted", flush=True)
    if how == "register":
        registration = Message(code=Code.POST, uri=f"coap://{gateway}/rd?ep={name}", payload=b"</valve>", content_format=40)
        print((await context.request(registration).response).code, "registered", flush=True)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, slow.go.set)
    loop.add_signal_handler(signal.SIGUSR2, state.change)
    print("ready", flush=True)
    await loop.create_future()


logging.basicConfig(level=logging.CRITICAL)
asyncio.run(main())
