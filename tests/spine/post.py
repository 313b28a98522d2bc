"""Posts readings from several aiocoap contexts at once and prints the code of each answer.

post.py SCHEME://ADDRESS:PORT CONTEXTS POSTS
"""

import asyncio
import json
import sys

import aiocoap


async def node(server, number, posts):
    context = await aiocoap.Context.create_client_context()

    async def post(i):
        payload = json.dumps({"device": f"aiocoap-{number}", f"p{i}": number * 1000 + i})
        request = aiocoap.Message(
            code=aiocoap.POST,
            uri=f"{server}/r",
            payload=payload.encode(),
            content_format=50,
        )
        response = await context.request(request).response
        print(response.code)

    await asyncio.gather(*(post(i) for i in range(posts)))
    await context.shutdown()


async def main():
    server, contexts, posts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    await asyncio.gather(*(node(server, number, posts) for number in range(contexts)))


asyncio.run(main())
