"""Makes the requests of a plan, given as JSON, and prints what each brought, as JSON.

A plan has "server" (host:port), "steps", and "proxy" with the port of a reverse proxy to put in
between. A step has "method" and "path", and may have "non", "payload", "format", "accept", "query",
"etag" and "if_match" (the number of the step whose ETag to use), "if_none_match", and "observe":
how many notifications to take. An observing step may have "meanwhile": steps to make once it is
answered.
"""

import asyncio
import json
import sys

import aiocoap
from aiocoap.numbers import OptionNumber
from aiocoap.numbers.constants import TransportTuning
from aiocoap.proxy import server as proxies

# The proxy refuses responses with Max-Age, which is unsafe to forward for who does not know it. It
# keeps no responses, so it may pass Max-Age on as it is.
refuse_unknown = proxies.raise_unless_safe
proxies.raise_unless_safe = lambda message, known: refuse_unknown(
    message, (*known, OptionNumber.MAX_AGE)
)


class Impatient(TransportTuning):
    """Retransmits soon, so that a lossy link costs little time."""

    ACK_TIMEOUT = 0.1
    MAX_RETRANSMIT = 8


def request_of(step, server, results):
    request = aiocoap.Message(
        code=getattr(aiocoap, step["method"]),
        mtype=aiocoap.NON if step.get("non") else None,
        uri=f"coap://{server}{step['path']}",
        payload=step.get("payload", "").encode(),
        transport_tuning=Impatient(),
    )
    if "format" in step:
        request.opt.content_format = step["format"]
    if "accept" in step:
        request.opt.accept = step["accept"]
    if "query" in step:
        request.opt.uri_query = tuple(step["query"])
    if "etag" in step:
        request.opt.etags = [bytes.fromhex(results[step["etag"]]["etag"])]
    if "if_match" in step:
        request.opt.if_match = [bytes.fromhex(results[step["if_match"]]["etag"])]
    if step.get("if_none_match"):
        request.opt.if_none_match = True
    if "observe" in step:
        request.opt.observe = 0
    return request


def result_of(response):
    options = response.opt
    return {
        "code": f"{response.code.class_}.{response.code & 31:02}",
        "type": response.mtype.name if response.mtype is not None else None,
        "payload": response.payload.decode(),
        "format": None if options.content_format is None else int(options.content_format),
        "etag": options.etag.hex() if options.etag else None,
        "max_age": options.max_age,
        "location_path": list(options.location_path),
        "location_query": list(options.location_query),
        "observe": options.observe,
    }


async def make(context, server, steps):
    results = []
    for step in steps:
        result = None
        while result is None:
            exchange = context.request(request_of(step, server, results))
            try:
                result = result_of(await exchange.response)
            except aiocoap.error.ResourceChanged:
                # It became another one between two of its blocks: from the start (RFC 7959 §2.4).
                if "observe" in step:
                    exchange.observation.cancel()
        if "observe" in step:
            meanwhile = asyncio.ensure_future(make(context, server, step.get("meanwhile", [])))
            notifications = []
            async for notification in exchange.observation:
                notifications.append(result_of(notification))
                if len(notifications) >= step["observe"] and meanwhile.done():
                    break
            exchange.observation.cancel()
            result["notifications"] = notifications
            result["meanwhile"] = await meanwhile
        results.append(result)
    return results


async def main():
    plan = json.loads(sys.argv[1])
    server = plan["server"]
    context = await aiocoap.Context.create_client_context()
    contexts = [context]
    if "proxy" in plan:
        outgoing = await aiocoap.Context.create_client_context()
        proxy = proxies.ProxyWithPooledObservations(outgoing)
        proxy.add_redirector(proxies.UnconditionalRedirector(server))
        bind = ("127.0.0.1", plan["proxy"])
        contexts += [outgoing, await aiocoap.Context.create_server_context(proxy, bind=bind)]
        server = f"127.0.0.1:{plan['proxy']}"
    results = await asyncio.wait_for(make(context, server, plan["steps"]), 50)
    for each in contexts:
        await each.shutdown()
    print(json.dumps(results))


asyncio.run(main())
