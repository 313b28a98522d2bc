"""A node by aiocoap that asks for its orders.

fetching_node.py GATEWAY NAME observe        prints what it is told as it comes, and answers each order
fetching_node.py GATEWAY NAME get [FORMAT]   prints the order as it is now, once
fetching_node.py GATEWAY NAME post           posts a reading, and prints where the answer points to
fetching_node.py GATEWAY NAME outcome ID BODY
fetching_node.py GATEWAY NAME register
fetching_node.py GATEWAY NAME links
"""

import asyncio
import json
import logging
import sys

import aiocoap
from aiocoap import Code, Message


async def main():
    gateway, name, what, *rest = sys.argv[1:]
    context = await aiocoap.Context.create_client_context()

    async def ask(path, code, **keys):
        return await context.request(Message(code=code, uri=f"coap://{gateway}/{path}", **keys)).response

    if what == "get":
        keys = {"accept": int(rest[0])} if rest else {}
        answer = await ask(f"cmd/{name}", Code.GET, **keys)
        print(answer.code.dotted, answer.payload.hex(), flush=True)
    elif what == "post":
        answer = await ask(f"r/{name}/temp", Code.POST, payload=b"1", content_format=0)
        print(answer.code.dotted, "/".join(answer.opt.location_path), flush=True)
    elif what == "outcome":
        answer = await ask(f"cmd/{name}/{rest[0]}", Code.POST, payload=rest[1].encode(), content_format=50)
        print(answer.code.dotted, flush=True)
    elif what == "register":
        answer = await ask(f"rd?ep={name}&base=coap://127.0.0.9", Code.POST, payload=b"", content_format=40)
        print(answer.code.dotted, flush=True)
    elif what == "links":
        answer = await ask(".well-known/core", Code.GET)
        print(answer.payload.decode(), flush=True)
    else:
        request = context.request(Message(code=Code.GET, uri=f"coap://{gateway}/cmd/{name}", observe=0))

        async def take(answer):
            print(answer.payload.decode(), flush=True)
            order = json.loads(answer.payload)
            if order is not None:
                outcome = json.dumps({"state": "done", "result": {"took": order["value"]}})
                answer = await ask(f"cmd/{name}/{order['id']}", Code.POST, payload=outcome.encode(), content_format=50)
                print("answered", answer.code.dotted, flush=True)

        await take(await request.response)
        async for answer in request.observation:
            await take(answer)
    await context.shutdown()


logging.basicConfig(level=logging.CRITICAL)
asyncio.run(main())
