// Three replicas of the service on a MongoDB replica set of three: what every script runs against.

import { MongoClient } from 'mongodb';

import { ReplicaSet } from './replica-set.js';
import { startReplicas } from './service.js';

/** As the service calls it unless COUNTER_DATABASE says otherwise. */
const DATABASE = 'thinkific_challenge';

export class Cluster {
  /**
   * @param {ReplicaSet} database
   * @param {Awaited<ReturnType<typeof startReplicas>>} replicas
   */
  constructor(database, replicas) {
    this.database = database;
    this.replicas = replicas;
  }

  static async start() {
    const database = await ReplicaSet.start();
    return new Cluster(database, await startReplicas(database.url, 3));
  }

  /** All replicas, as scripts are told of them. */
  get urls() {
    return this.replicas.urls;
  }

  /** What is left in the database: a run cleans up after itself. */
  async leftovers() {
    const client = new MongoClient(this.database.url);
    try {
      const database = client.db(DATABASE);
      const collections = await database.listCollections({}, { nameOnly: true }).toArray();
      const names = collections.map(({ name }) => name).filter((name) => /user|counter/.test(name));
      const counts = await Promise.all(names.map((name) => database.collection(name).countDocuments()));
      return Object.fromEntries(names.map((name, index) => [name, counts[index]]));
    } finally {
      await client.close();
    }
  }

  async stop() {
    await this.replicas.stop();
    await this.database.stop();
  }
}
