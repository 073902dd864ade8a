"""The network of the drill, as a program of its own so that nothing else of the drill holds it up.

It reads one JSON object from standard input, which says what to listen on, and then one for each change of the weather. What users reach
is a load balancer, with and without TLS, that asks each replica's /health and sends new connections to those that pass. What replicas
reach are proxies, one before each member of MongoDB. Ends with its standard input.
"""

import asyncio
import contextlib
import json
import os
import ssl
import sys

CHUNK = 65536
LOOKS = 10


class Weather:
    """What is wrong at the moment; faults are for the service alone, while the members of MongoDB always reach each other."""

    delay = 0.0
    cut_off = frozenset()
    certificate = None
    context = None


weather = Weather()
connections = set()


def process_of(writer):
    """Which of the watched processes is at the other end of a connection."""
    ends = ["%s:%04X" % ("".join("%02X" % int(part) for part in reversed(host.split("."))), port)
            for host, port in (writer.get_extra_info("peername"), writer.get_extra_info("sockname"))]
    # The list of sockets is read in pieces. Where others come and go meanwhile, it lacks some of them.
    for _ in range(LOOKS):
        with open("/proc/net/tcp") as sockets:
            inodes = {"socket:[%s]" % fields[9] for fields in map(str.split, sockets) if fields[1:3] == ends}
        for process in weather.watched:
            if inodes & set(opened(process)):
                return process
    return None


def opened(process):
    """What the descriptors of a process are, but for those that it closes just now."""
    folder = "/proc/%d/fd" % process
    with contextlib.suppress(OSError):
        for fd in os.listdir(folder):
            with contextlib.suppress(OSError):
                yield os.readlink("%s/%s" % (folder, fd))


def is_cut_off(writer):
    """Whether the process at the other end is. Asked when it matters: a replica connects before it is known which process it is.

    One that cannot be found counts as cut off: a replica that is not connects again.
    """
    return bool(weather.cut_off) and process_of(writer) in weather.cut_off | {None}


async def pump(reader, writer, delayed):
    """Passes what comes on, each piece after the delay that there is when it comes, and in order."""
    pieces = asyncio.Queue()

    async def send():
        while True:
            due, data = await pieces.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if not data:
                return
            writer.write(data)
            await writer.drain()

    sender = asyncio.create_task(send())
    try:
        while True:
            data = await reader.read(CHUNK)
            pieces.put_nowait((asyncio.get_running_loop().time() + (weather.delay if delayed else 0.0), data))
            if not data:
                await sender
                return
    finally:
        sender.cancel()


async def join(reader, writer, port, delayed=False, first=b""):
    """Both directions, until one of them ends."""
    try:
        there, back = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.transport.abort()
        return
    back.write(first)
    ways = [asyncio.create_task(pump(reader, back, delayed)), asyncio.create_task(pump(there, writer, delayed))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (writer, back):
            end.close()


async def before_member(port, reader, writer):
    """A proxy's connection. A member's first message says `internalClient`, and what begins so always passes."""
    first = await reader.read(CHUNK)
    delayed = b"internalClient" not in first
    if not delayed:
        await join(reader, writer, port, False, first)
        return
    if is_cut_off(writer):
        writer.transport.abort()
        return
    connections.add(writer)
    try:
        await join(reader, writer, port, True, first)
    finally:
        connections.discard(writer)


class Balancer:
    """Takes turns among the replicas whose /health passes."""

    def __init__(self, ports):
        self.ports, self.ready, self.turn = ports, [], 0

    async def watch(self):
        async def healthy(port):
            try:
                async with asyncio.timeout(2):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(b"GET /readyz HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n")
                    answer = await reader.read(64)
                    writer.close()
                    return answer.startswith(b"HTTP/1.1 200")
            except (OSError, TimeoutError):
                return False

        while True:
            passes = await asyncio.gather(*map(healthy, self.ports))
            # With none left, all are asked: then users get the service's own answer, and not the balancer's silence.
            self.ready = [port for port, well in zip(self.ports, passes) if well] or list(self.ports)
            await asyncio.sleep(0.3)

    async def connection(self, reader, writer):
        self.turn += 1
        await join(reader, writer, self.ready[self.turn % len(self.ready)])


def change(message):
    """The weather changes."""
    weather.delay = message.get("delay", weather.delay)
    weather.watched = message.get("watched", weather.watched)
    if "cut_off" in message:
        weather.cut_off = frozenset(message["cut_off"])
        for writer in list(connections):
            if is_cut_off(writer):
                writer.transport.abort()
    if "certificate" in message:
        weather.context.load_cert_chain(message["certificate"])


async def main():
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    plan = json.loads(await commands.readline())
    weather.watched = []
    weather.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    weather.context.load_cert_chain(plan["certificate"])
    # Else a client that comes back resumes its session, and sees the old certificate.
    weather.context.options |= ssl.OP_NO_TICKET
    balancer = Balancer(plan["replicas"])
    balancer.ready = list(plan["replicas"])
    for listen, member in plan["members"]:
        await asyncio.start_server(lambda reader, writer, member=member: before_member(member, reader, writer), "127.0.0.1", listen)
    await asyncio.start_server(balancer.connection, "127.0.0.1", plan["http"])
    await asyncio.start_server(balancer.connection, "127.0.0.1", plan["https"], ssl=weather.context)
    watching = loop.create_task(balancer.watch())
    while line := await commands.readline():
        change(json.loads(line))
        print("changed", flush=True)
    watching.cancel()


def quiet(_loop, context):
    """A connection that breaks is what this is for; other faults are told."""
    if not isinstance(context.get("exception"), (OSError, ssl.SSLError, asyncio.IncompleteReadError)):
        print(context, file=sys.stderr, flush=True)


async def run():
    asyncio.get_running_loop().set_exception_handler(quiet)
    await main()


if __name__ == "__main__":
    asyncio.run(run())
