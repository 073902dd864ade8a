"""Callers of the service, as a program of its own: mixed calls at a steady rate, or a crowd that calls without a pause.

    load.py --api PORT --tokens FILE --rate 20             so many calls a second, next, current and lists in turn
    load.py --api PORT --tokens FILE --crowd 100 --call next   so many callers at once
    load.py --api PORT --wrong-passwords 5 --victim EMAIL  so many logins a second that fail
    load.py --api PORT --connections 90                    so many connections that are open, and a call on each now and then

Ends with its standard input, and after ten minutes (`--minutes`) in any case. Then it prints how many answers it got, by status; 0 is none.
"""

import argparse
import asyncio
import collections
import json
import pathlib
import random
import sys

MIX = ["POST /v1/next", "GET /v1/current", "POST /v1/counters/orders/next", "GET /v1/counters/orders/current", "POST /v1/next",
       "GET /v1/counters"]
CALLS = {"mix": MIX, "next": ["POST /v1/next"], "current": ["GET /v1/current"], "list": ["GET /v1/counters"]}


class Caller:
    """One connection, opened again when it breaks."""

    def __init__(self, port, answers):
        self.port, self.answers, self.stream = port, answers, None

    async def call(self, request, token=None, body=None):
        head = ["%s HTTP/1.1" % request, "Host: counter.example.com"]
        if token:
            head.append("Authorization: Bearer " + token)
        if body is not None:
            head += ["Content-Type: application/json", "Content-Length: %d" % len(body)]
        elif request.startswith("POST"):
            head.append("Content-Length: 0")
        status = 0
        try:
            async with asyncio.timeout(15):
                if self.stream is None:
                    self.stream = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = self.stream
                writer.write(("\r\n".join(head) + "\r\n\r\n").encode() + (body or b""))
                answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = next((int(line.split(":")[1]) for line in answer.split("\r\n") if line.startswith("content-length:")), 0)
                await reader.readexactly(length)
                status = int(answer.split()[1])
                if "connection: close" in answer:
                    self.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self.close()
        self.answers[status] += 1
        return status

    def close(self):
        if self.stream:
            self.stream[1].close()
        self.stream = None


async def steadily(rate, act):
    """Starts one act after the other, however long they take, as long as no more than 60 are under way."""
    under_way, loop = set(), asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + 1 / rate, loop.time() - 1)
        await asyncio.sleep(due - loop.time())
        if len(under_way) < 60:
            task = loop.create_task(act())
            under_way.add(task)
            task.add_done_callback(under_way.discard)


async def mixed(options, answers, tokens):
    """At a steady rate, on connections that are kept and taken in turn."""
    idle, turn = [], 0

    async def act():
        nonlocal turn
        turn += 1
        caller = idle.pop() if idle else Caller(options.api, answers)
        calls = CALLS[options.call]
        await caller.call(calls[turn % len(calls)], tokens[turn % len(tokens)])
        idle.append(caller)

    await steadily(options.rate, act)


async def crowd(options, answers, tokens):
    async def one(number):
        caller = Caller(options.api, answers)
        for turn in range(10**9):
            calls = CALLS[options.call]
            status = await caller.call(calls[turn % len(calls)], tokens[number % len(tokens)])
            # Who was refused waits a little, as the answer asks; so a small machine is left for the service.
            await asyncio.sleep(0 if status == 200 else random.uniform(0.1, 0.5))

    await asyncio.gather(*map(one, range(options.crowd)))


async def wrong_passwords(options, answers, _tokens):
    async def act():
        caller = Caller(options.api, answers)
        await caller.call("POST /v1/login", body=json.dumps({"email": options.victim, "password": "guess no. %d" % random.randrange(10**6)}).encode())
        caller.close()

    await steadily(options.wrong_passwords, act)


async def open_connections(options, answers, _tokens):
    async def one():
        caller = Caller(options.api, answers)
        while True:
            await caller.call("GET /livez")
            await asyncio.sleep(random.uniform(2, 4))

    await asyncio.gather(*(one() for _ in range(options.connections)))


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--api", type=int, required=True)
    arguments.add_argument("--tokens", type=pathlib.Path)
    arguments.add_argument("--call", choices=CALLS, default="mix")
    arguments.add_argument("--rate", type=float)
    arguments.add_argument("--crowd", type=int)
    arguments.add_argument("--wrong-passwords", type=float)
    arguments.add_argument("--victim")
    arguments.add_argument("--connections", type=int)
    arguments.add_argument("--minutes", type=float, default=10)
    options = arguments.parse_args()
    kind = mixed if options.rate else crowd if options.crowd else wrong_passwords if options.wrong_passwords else open_connections
    answers = collections.Counter()
    work = asyncio.create_task(kind(options, answers, options.tokens.read_text().split() if options.tokens else []))
    loop = asyncio.get_running_loop()
    await asyncio.wait([work, loop.run_in_executor(None, sys.stdin.read)], timeout=60 * options.minutes, return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        work.result()
    work.cancel()
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
