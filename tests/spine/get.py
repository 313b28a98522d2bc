"""Requests by aiocoap; prints the code and the payload of each answer on a line.

get.py URI COUNT    COUNT answers of an observation, or one without an observation for 0
"""

import asyncio
import sys

import aiocoap


def show(response):
    print(response.code.dotted, response.payload.decode(), flush=True)


async def main():
    uri, count = sys.argv[1], int(sys.argv[2])
    context = await aiocoap.Context.create_client_context()
    observe = 0 if count else None
    request = context.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=observe))
    show(await request.response)
    notifications = aiter(request.observation) if count else None
    for _ in range(count - 1):
        show(await anext(notifications))
    await context.shutdown()


asyncio.run(main())
