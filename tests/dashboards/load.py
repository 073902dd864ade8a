"""The callers of the live run, in a process of their own: a mixed load with an open model, and three kinds of trouble.

Each kind of call comes at a rate of its own, whatever the answers do. Answers are counted by status, so that the run can
say what it was made of.
"""

import asyncio
import itertools
import json
import multiprocessing
import random
import uuid
from collections import Counter

USERS = 20
PASSWORD = "correct horse battery"
# Calls a second of each kind.
RATES = {
    "hot": 30, "named": 20, "keyed": 8, "by_get": 4, "block": 2, "read": 12, "read_named": 5, "put": 3, "put_stale": 1,
    "list": 2, "delete": 0.7, "me": 1, "login": 0.8, "mistyped": 0.2, "register": 0.4, "register_again": 0.15, "logout": 0.2,
    "leave": 0.15, "bad_token": 1, "no_route": 0.5, "wrong_method": 0.4, "bad_body": 0.5, "hang_up": 0.7, "silent": 0.2,
}
# In a spike everything that takes or reads a number comes so many times as often.
SPIKE = 6
SPIKING = {"hot", "named", "keyed", "by_get", "block", "read", "read_named"}
# Guesses a second in a storm of wrong passwords: from few addresses, which are soon limited, and from very many.
GUESSES_FROM_FEW, GUESSES_FROM_MANY = 60, 4
# Connections that call one replica as fast as it answers, until it is saturated.
FLOOD = 220
MOST_AT_ONCE = 1500


class Load:
    """Runs until it is stopped. `spike`, `storm` and `flood` switch trouble on and off."""

    def __init__(self, addresses):
        context = multiprocessing.get_context("spawn")
        self.switches = {name: context.Value("b", 0) for name in ("spike", "storm", "flood", "stop")}
        self.ours, theirs = context.Pipe()
        self.process = context.Process(target=_run, args=(addresses, self.switches, theirs), daemon=True)
        self.process.start()
        if not self.ours.poll(120):
            raise SystemExit("the callers could not register their users")
        self.ours.recv()

    def switch(self, name, on):
        self.switches[name].value = int(on)

    def stop(self):
        """Ends the load, and gives the counts of its answers."""
        self.switch("stop", True)
        counts = self.ours.recv() if self.ours.poll(30) else {}
        self.process.terminate()
        self.process.join()
        return counts


def _run(addresses, switches, pipe):
    asyncio.run(Callers(addresses, switches).run(pipe))


class Callers:
    def __init__(self, addresses, switches):
        self.addresses, self.switches = addresses, switches
        self.idle = {address: [] for address in addresses}
        self.counts = Counter()
        self.users, self.turn, self.under_way = [], 0, set()

    async def run(self, pipe):
        for number in range(USERS):
            email = f"user{number}@example.com"
            account = {"email": email, "password": PASSWORD}
            # On a machine that has just started everything, the first calls may fail, and may have been done all the same.
            for path in itertools.cycle(("/v1/register", "/v1/login")):
                status, body = await self.call("POST", path, body=account)
                if status in (200, 201):
                    break
            self.users.append({"email": email, "token": json.loads(body)["token"]})
        pipe.send("ready")
        kinds = [asyncio.create_task(self.arrivals(name, rate)) for name, rate in RATES.items()]
        kinds += [asyncio.create_task(self.storm()), asyncio.create_task(self.flood())]
        while not self.switches["stop"].value:
            await asyncio.sleep(0.1)
            for task in kinds:
                if task.done():
                    task.result()
        for task in [*kinds, *self.under_way]:
            task.cancel()
        pipe.send(dict(self.counts))

    async def arrivals(self, name, rate):
        while True:
            spiking = name in SPIKING and self.switches["spike"].value
            await asyncio.sleep(random.expovariate(rate * (SPIKE if spiking else 1)))
            self.begin(getattr(self, name)(random.choice(self.users)))

    def begin(self, call):
        if len(self.under_way) >= MOST_AT_ONCE:
            self.counts["not begun"] += 1
            call.close()
            return
        task = asyncio.create_task(call)
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    async def storm(self):
        while True:
            if not self.switches["storm"].value:
                await asyncio.sleep(0.1)
                continue
            await asyncio.sleep(random.expovariate(GUESSES_FROM_FEW + GUESSES_FROM_MANY))
            few = random.random() < GUESSES_FROM_FEW / (GUESSES_FROM_FEW + GUESSES_FROM_MANY)
            client = f"198.51.100.{random.randrange(4)}" if few else None
            self.begin(self.mistyped(random.choice(self.users), client))

    async def flood(self):
        while True:
            if not self.switches["flood"].value:
                await asyncio.sleep(0.1)
                continue
            await asyncio.gather(*(self.flood_caller(number) for number in range(FLOOD)))

    async def flood_caller(self, number):
        user, name = self.users[number % USERS], f"flood-{number // USERS}"
        while self.switches["flood"].value:
            status, _ = await self.call("POST", f"/v1/counters/{name}/next", user=user, address=self.addresses[0])
            if status != 200:
                await asyncio.sleep(0.05)

    # One method for each kind of call.

    async def hot(self, _):
        await self.call("POST", "/v1/next", user=self.users[0])

    async def named(self, user):
        await self.call("POST", f"/v1/counters/orders-{random.randrange(20)}/next", user=user)

    async def keyed(self, user):
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        for _ in range(random.choice((1, 1, 2))):
            await self.call("POST", "/v1/next", user=user, headers=headers)

    async def by_get(self, user):
        await self.call("GET", "/v1/next", user=user)

    async def block(self, user):
        await self.call("POST", "/v1/next?count=5", user=user)

    async def read(self, user):
        await self.call("GET", "/v1/current", user=user)

    async def read_named(self, user):
        await self.call("GET", f"/v1/counters/orders-{random.randrange(20)}/current", user=user)

    async def put(self, user):
        await self.call("PUT", "/v1/counters/set/current", user=user, body={"current": random.randrange(1000)})

    async def put_stale(self, user):
        await self.call("PUT", "/v1/counters/set/current", user=user, body={"current": 1}, headers={"If-Match": '"17"'})

    async def list(self, user):
        await self.call("GET", "/v1/counters?limit=10", user=user)

    async def delete(self, user):
        await self.call("DELETE", f"/v1/counters/orders-{random.randrange(20)}", user=user)

    async def me(self, user):
        await self.call("GET", "/v1/me", user=user)

    async def login(self, user):
        await self.call("POST", "/v1/login", body={"email": user["email"], "password": PASSWORD})

    async def mistyped(self, user, client=None):
        await self.call("POST", "/v1/login", body={"email": user["email"], "password": "not this one"}, client=client)

    async def register(self, _):
        await self.newcomer()

    async def register_again(self, user):
        await self.call("POST", "/v1/register", body={"email": user["email"], "password": PASSWORD})

    async def logout(self, _):
        if guest := await self.newcomer():
            await self.call("POST", "/v1/logout", user=guest)

    async def leave(self, _):
        if guest := await self.newcomer():
            await self.call("DELETE", "/v1/me", user=guest, body={"password": PASSWORD})

    async def bad_token(self, _):
        await self.call("POST", "/v1/next", user={"token": "not-a-token"})

    async def no_route(self, _):
        await self.call("GET", f"/nothing/{random.randrange(1000)}")

    async def wrong_method(self, user):
        await self.call("DELETE", "/v1/next", user=user)

    async def bad_body(self, user):
        await self.call("PUT", "/v1/current", user=user, body={"current": "seven"})

    async def hang_up(self, user):
        """Asks, and is gone before the answer."""
        address = random.choice(self.addresses)
        try:
            _, writer = await self.connect(address)
            writer.write(request("POST", "/v1/next", address, user, None, {}, None))
            await writer.drain()
            writer.transport.abort()
        except OSError:
            pass
        self.counts["hung up"] += 1

    async def silent(self, _):
        """Connects, and says nothing until it is thrown out."""
        try:
            reader, writer = await self.connect(random.choice(self.addresses))
            await reader.read()
            writer.close()
        except OSError:
            self.counts["no answer"] += 1

    async def newcomer(self):
        body = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
        status, answer = await self.call("POST", "/v1/register", body=body)
        return {"token": json.loads(answer)["token"]} if status == 201 else None

    async def connection(self, address):
        """One that served before and was not ended since, or a new one."""
        while self.idle[address]:
            reader, writer = self.idle[address].pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await self.connect(address)

    async def connect(self, address):
        host, port = address.rsplit(":", 1)
        return await asyncio.open_connection(host, int(port))

    async def call(self, method, path, *, user=None, body=None, headers=None, client=None, address=None):
        """One call, on a connection that may have served others; its status and body."""
        if address is None:
            self.turn += 1
            address = self.addresses[self.turn % len(self.addresses)]
        # Each call of the usual load comes from an address of its own, so that only a storm meets the rate limit.
        client = client or f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}"
        try:
            connection = await self.connection(address)
            reader, writer = connection
            writer.write(request(method, path, address, user, body, headers or {}, client))
            status, answer, keep = await asyncio.wait_for(read_answer(reader), 30)
            if keep:
                self.idle[address].append(connection)
            else:
                writer.close()
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
            self.counts["no answer"] += 1
            return 0, b""
        self.counts[str(status)] += 1
        return status, answer


def request(method, path, address, user, body, headers, client):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {address}"]
    data = b""
    if user:
        lines.append(f"Authorization: Bearer {user['token']}")
    if client:
        lines.append(f"X-Forwarded-For: {client}")
    if body is not None:
        data = json.dumps(body).encode()
        lines += ["Content-Type: application/json"]
    if body is not None or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(data)}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


async def read_answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status = int(head.split(" ", 2)[1])
    headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return status, body, headers.get("connection") != "close"
