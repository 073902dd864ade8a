"""TCP proxies before the members of the replica set, in a process of their own, that can be made slow."""

import asyncio
import multiprocessing


class Proxies:
    """One proxy before each of these ports."""

    def __init__(self, ports):
        context = multiprocessing.get_context("spawn")
        self.delay = context.Value("d", 0.0)
        ours, theirs = context.Pipe()
        self.process = context.Process(target=_run, args=(ports, self.delay, theirs), daemon=True)
        self.process.start()
        self.ports = ours.recv()

    def slow(self, seconds):
        """Lets everything that is sent to a member arrive so much later."""
        self.delay.value = seconds

    def stop(self):
        self.process.terminate()
        self.process.join()


def _run(ports, delay, pipe):
    asyncio.run(_serve(ports, delay, pipe))


async def _serve(ports, delay, pipe):
    servers = [await asyncio.start_server(_connection(port, delay), "127.0.0.1", 0) for port in ports]
    pipe.send([server.sockets[0].getsockname()[1] for server in servers])
    await asyncio.gather(*(server.serve_forever() for server in servers))


def _connection(port, delay):
    async def connection(client_in, client_out):
        try:
            server_in, server_out = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            # The member is down: whoever connects sees what it would see without the proxy, an end at once.
            client_out.transport.abort()
            return
        await asyncio.gather(_pass(client_in, server_out, delay), _pass(server_in, client_out, None))

    return connection


async def _pass(source, sink, delay):
    try:
        while data := await source.read(65_536):
            if delay and delay.value:
                await asyncio.sleep(delay.value)
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.transport.abort() if sink.is_closing() else sink.close()
