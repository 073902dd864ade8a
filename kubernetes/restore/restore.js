// Puts an archive of the component backup, the newest unless ARCHIVE names another, into a database that holds nobody yet. Run by
// `mongosh --nodb`, as the service's own user.
const fs = require('fs');
const { spawnSync } = require('child_process');
const { StringDecoder } = require('string_decoder');

const { MEMBERS, DATABASE, ARCHIVE } = process.env;
const FOLDER = '/backup';
const UNPACKED = '/tmp/archive';
const DOCUMENTS_AT_ONCE = 1000;

function secret(name) {
  return fs.readFileSync(`/run/secrets/mongodb/${name}`, 'utf8').trim();
}

function fail(message) {
  print(message);
  quit(1);
}

/** The last line of the unpacked archive: the end with its counts is short. */
function lastLine() {
  const size = fs.fstatSync(unpacked).size;
  const tail = Buffer.alloc(Math.min(size, 4096));
  fs.readSync(unpacked, tail, 0, tail.length, size - tail.length);
  return tail.toString('utf8').trimEnd().split('\n').pop();
}

const archives = fs.readdirSync(FOLDER).filter((entry) => entry.endsWith('.archive.gz'));
const name = ARCHIVE || (archives.length > 0 ? `${FOLDER}/${archives.sort().pop()}` : fail(`there is no archive in ${FOLDER}`));

const mongo = new Mongo(`mongodb://${secret('api-user')}:${secret('api-password')}@${MEMBERS}/?replicaSet=rs0&authSource=admin&w=majority`);
const database = mongo.getDB(DATABASE);
// Over counters that exist, older ones would make a mixture of two times.
const users = database.getCollection('users').countDocuments();
if (users > 0) fail(`${DATABASE} holds ${users} users: an archive is put into an empty database only`);

// The lines, unpacked, and whole: half an archive must not become half a database.
print(`restoring ${name}`);
const unpacked = fs.openSync(UNPACKED, 'w+');
if (spawnSync('gzip', ['-dc', name], { stdio: ['ignore', unpacked, 'inherit'] }).status !== 0) fail(`${name} cannot be unpacked`);

const last = lastLine();
if (!last.startsWith('{"end":')) fail(`${name} is not whole: it has no end`);

let batch = [];
let into = '';
function insert() {
  if (batch.length > 0) database.getCollection(into).insertMany(batch, { ordered: false });
  batch = [];
}
function see(line) {
  // Not relaxed: a long must stay a long.
  const { in: collection, document } = EJSON.parse(line, { relaxed: false });
  if (!collection) return;
  if (collection !== into || batch.length >= DOCUMENTS_AT_ONCE) {
    insert();
    into = collection;
  }
  batch.push(document);
}

const decoder = new StringDecoder('utf8');
const chunk = Buffer.alloc(1 << 20);
let rest = '';
for (let at = 0, read; (read = fs.readSync(unpacked, chunk, 0, chunk.length, at)) > 0; at += read) {
  const lines = (rest + decoder.write(chunk.subarray(0, read))).split('\n');
  rest = lines.pop();
  for (const line of lines) see(line);
}
insert();

const counts = EJSON.parse(last).end;
for (const [collection, count] of Object.entries(counts)) {
  const there = database.getCollection(collection).countDocuments();
  if (there !== count) fail(`${collection} has ${there} documents, and the archive ${count}`);
  print(`${collection}: ${there} documents`);
}
print('restored');
