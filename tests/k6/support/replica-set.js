// A MongoDB replica set of three members, on real mongods.

import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { MongoClient } from 'mongodb';

import { ROOT, directory, eventually, freePorts, start } from './processes.js';

const MONGOD = join(ROOT, '.tools/mongod/bin/mongod');
const NAME = 'loadtest';

export class ReplicaSet {
  #directory = directory();
  /** @type {{ port: number, program: import('./processes.js').Program | null }[]} */
  #members = [];

  static async start() {
    if (!existsSync(MONGOD)) {
      throw new Error(`there is no ${MONGOD}: run scripts/install-mongod`);
    }
    const set = new ReplicaSet();
    set.#members = (await freePorts(3)).map((port) => ({ port, program: set.#spawn(port) }));
    await Promise.all(set.#members.map(({ port }) => eventually(`mongod on ${port}`, () => admin(port, { ping: 1 }))));
    if (!(await admin(set.#members[0].port, { replSetInitiate: set.#config(1, 5000) }))) {
      throw new Error('the replica set could not be initiated');
    }
    await set.primary();
    return set;
  }

  /**
   * @param {number} version
   * @param {number} electionTimeoutMillis
   */
  #config(version, electionTimeoutMillis) {
    return {
      _id: NAME,
      version,
      members: this.#members.map(({ port }, index) => ({ _id: index, host: `127.0.0.1:${port}` })),
      settings: { electionTimeoutMillis, heartbeatIntervalMillis: 200, heartbeatTimeoutSecs: 5 },
    };
  }

  /**
   * How soon a silent primary is replaced. Short: a failover is fast. Long: a busy machine is no failover.
   * @param {number} electionTimeoutMillis
   */
  async electAfter(electionTimeoutMillis) {
    const port = await this.primary();
    const known = await admin(port, { replSetGetConfig: 1 });
    const config = this.#config(known?.config.version + 1, electionTimeoutMillis);
    if (!(await admin(port, { replSetReconfig: { ...config, term: known?.config.term } }))) {
      throw new Error('the replica set could not be configured anew');
    }
  }

  /** @param {number} port */
  #spawn(port) {
    const path = join(this.#directory.path, String(port));
    mkdirSync(path, { recursive: true });
    return start(MONGOD, [
      ...['--bind_ip', '127.0.0.1', '--port', String(port), '--nounixsocket', '--quiet'],
      ...['--dbpath', path, '--replSet', NAME, '--oplogSize', '64', '--wiredTigerCacheSizeGB', '0.25'],
      ...['--setParameter', 'diagnosticDataCollectionEnabled=false'],
    ]);
  }

  get url() {
    return `mongodb://${this.#members.map(({ port }) => `127.0.0.1:${port}`).join(',')}/?replicaSet=${NAME}`;
  }

  /** The port of the member that takes writes, as soon as there is one. */
  primary() {
    return eventually('a primary', async () => {
      for (const { port, program } of this.#members) {
        const hello = program && (await admin(port, { hello: 1 }));
        if (hello && hello.isWritablePrimary) {
          return port;
        }
      }
      return undefined;
    });
  }

  /** Kills the primary, so that another member must be elected. */
  async killPrimary() {
    const port = await this.primary();
    const member = this.#members.find((one) => one.port === port);
    await member?.program?.kill('SIGKILL');
    return port;
  }

  /**
   * Starts a member that was killed.
   * @param {number} port
   */
  async restart(port) {
    const member = this.#members.find((one) => one.port === port);
    if (member) {
      member.program = this.#spawn(port);
    }
    await eventually('the member is a secondary', async () => (await admin(port, { hello: 1 }))?.secondary);
  }

  async stop() {
    await Promise.all(this.#members.map(({ program }) => program?.kill()));
    this.#directory.remove();
  }
}

/**
 * Runs a command on one member, or gives nothing if that fails.
 * @param {number} port
 * @param {import('mongodb').Document} command
 */
async function admin(port, command) {
  const client = new MongoClient(`mongodb://127.0.0.1:${port}/`, {
    directConnection: true,
    serverSelectionTimeoutMS: 1000,
    connectTimeoutMS: 1000,
  });
  try {
    return await client.db('admin').command(command);
  } catch {
    return undefined;
  } finally {
    await client.close();
  }
}
