// Writes an archive of the service's database as it was at one moment, then removes the old ones. Run by `mongosh --nodb`.
//
// An archive is gzip of lines: a head, a line for each document (canonical extended JSON), and an end with the counts, without which it is
// not whole. It bears its name only when it is complete and on disk.
//
// MongoDB keeps a moment readable for five minutes, which is enough for some millions of documents. A larger database has snapshots of its
// volumes, or a provider with continuous backups.
const fs = require('fs');
const zlib = require('zlib');

const { MEMBERS, DATABASE, KEEP_DAYS } = process.env;
const FOLDER = '/backup';
// Not `oauth_logins`: what it holds is worth nothing a minute later.
const COLLECTIONS = ['users', 'incremental_counter', 'idempotency_keys'];
const LINES_AT_ONCE = 2000;

const password = fs.readFileSync('/run/secrets/mongodb/backup-password', 'utf8').trim();
const mongo = new Mongo(`mongodb://backup:${password}@${MEMBERS}/?replicaSet=rs0&authSource=admin&readPreference=secondaryPreferred`);
// Every read of this session sees the same moment, and only what a majority has.
const database = mongo.startSession({ snapshot: true }).getDatabase(DATABASE);

const time = new Date().toISOString();
const name = `${FOLDER}/${time.replace(/[-:]|\.\d+/g, '')}.archive.gz`;
const file = fs.openSync(`${name}.part`, 'w', 0o600);
let lines = [];
function write(line) {
  lines.push(EJSON.stringify(line, { relaxed: false }) + '\n');
  if (lines.length >= LINES_AT_ONCE) flush();
}
// Members of gzip, one after the other, are gzip.
function flush() {
  fs.writeSync(file, zlib.gzipSync(lines.join('')));
  lines = [];
}

const counts = {};
write({ archive: 'counter-api', format: 1, time, database: DATABASE });
for (const collection of COLLECTIONS) {
  counts[collection] = 0;
  for (const cursor = database.getCollection(collection).find(); cursor.hasNext(); counts[collection]++) {
    write({ in: collection, document: cursor.next() });
  }
}
write({ end: counts });
flush();
fs.fsyncSync(file);
fs.closeSync(file);
fs.renameSync(`${name}.part`, name);

const oldest = Date.now() - Number(KEEP_DAYS) * 24 * 3600 * 1000;
for (const entry of fs.readdirSync(FOLDER)) {
  // Halves that were left behind are old as well, a day after.
  if (/\.archive\.gz(\.part)?$/.test(entry) && fs.statSync(`${FOLDER}/${entry}`).mtimeMs < oldest) {
    fs.unlinkSync(`${FOLDER}/${entry}`);
    print(`removed ${entry}`);
  }
}
print(`made ${name}: ${fs.statSync(name).size} bytes, ${JSON.stringify(counts)}`);
