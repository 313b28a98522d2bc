"""A browser that evaluates expressions: each line of the input is one, each line of the output what
it gives, as JSON. `errors` gives the exceptions that nobody caught, `complaints` what the browser says
of the page, `requests` the addresses that it asked for, and `!Domain.method {...}` calls a method of the
browser. `chromium` is driven through its DevTools pipe (descriptors 3 and 4)."""

import fcntl
import json
import os
import subprocess
import sys

browser, profile, address = sys.argv[1:]
to_browser, from_browser = os.pipe(), os.pipe()
theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (to_browser[0], from_browser[1])]


def hand_over():
    os.dup2(theirs[0], 3)
    os.dup2(theirs[1], 4)


process = subprocess.Popen(
    [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
     "--no-first-run", "--user-data-dir=" + profile, "--remote-debugging-pipe", "about:blank"],
    preexec_fn=hand_over, close_fds=False, stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for fd in theirs + [to_browser[0], from_browser[1]]:
    os.close(fd)
sender, receiver = os.fdopen(to_browser[1], "wb", 0), os.fdopen(from_browser[0], "rb")
calls, rest = 0, b""
seen = {"errors": [], "complaints": [], "requests": []}


def receive():
    global rest
    while b"\0" not in rest:
        more = receiver.raw.read(65536)
        if not more:
            sys.exit("the browser has ended")
        rest += more
    message, rest = rest.split(b"\0", 1)
    return json.loads(message)


def call(method, session=None, **params):
    global calls
    calls += 1
    message = {"id": calls, "method": method, "params": params}
    if session:
        message["sessionId"] = session
    sender.write(json.dumps(message).encode() + b"\0")
    while True:
        answer = receive()
        params = answer.get("params")
        if answer.get("method") == "Runtime.exceptionThrown":
            seen["errors"].append(json.dumps(params))
        if answer.get("method") == "Log.entryAdded":
            seen["complaints"].append(json.dumps(params))
        if answer.get("method") == "Network.requestWillBeSent":
            seen["requests"].append(params["request"]["url"])
        if answer.get("id") == calls:
            return answer.get("result", answer)


try:
    target = call("Target.createTarget", url="about:blank")["targetId"]
    session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Runtime", "Log", "Network"):
        call(domain + ".enable", session)
    call("Page.navigate", session, url=address)
    for line in sys.stdin:
        if line.strip() in seen:
            print(json.dumps(seen[line.strip()]), flush=True)
            continue
        if line.startswith("!"):
            method, params = line[1:].split(" ", 1)
            print(json.dumps(call(method, session, **json.loads(params))), flush=True)
            continue
        result = call("Runtime.evaluate", session, expression=line, returnByValue=True)
        print(json.dumps(result.get("result", {}).get("value")), flush=True)
finally:
    process.terminate()
    process.wait()
