// Makes the replica set of MEMBERS and its users, or brings the users in line with the files in SECRETS. Harmless to repeat, and
// told when something is as it should be already. Run by `mongosh --nodb`; without SECRETS there is no authentication.
const fs = require('fs');

const SET = 'rs0';
const members = process.env.MEMBERS.split(',').map((member) => member.trim());
const database = process.env.DATABASE || 'thinkific_challenge';
const PATIENCE_MS = 5 * 60 * 1000;

function secret(name) {
  return fs.readFileSync(`${process.env.SECRETS}/${name}`, 'utf8').trim();
}

// The members know each other by the key file, and so they know us: as the user __system, which exists before any other does.
// mongod leaves out white space when it reads the file.
const key = process.env.SECRETS ? secret('keyfile').replace(/\s/g, '') : '';
const login = key ? `__system:${encodeURIComponent(key)}@` : '';
const options = `serverSelectionTimeoutMS=5000&connectTimeoutMS=5000${key ? '&authSource=local&authMechanism=SCRAM-SHA-256' : ''}`;

function connect(hosts, more) {
  return new Mongo(`mongodb://${login}${hosts}/?${options}&${more}`);
}

/** Tries until `attempt` answers something. */
function patiently(what, attempt) {
  const deadline = Date.now() + PATIENCE_MS;
  for (let last; ; ) {
    try {
      const result = attempt();
      if (result) return result;
    } catch (error) {
      // Said when it changes, not once a second.
      if (error.message !== last) print(`waiting for ${what}: ${(last = error.message)}`);
    }
    if (Date.now() > deadline) throw new Error(`gave up waiting for ${what}`);
    sleep(1000);
  }
}

/** The set that this member belongs to, '' for none yet. */
function setOf(member) {
  return connect(member, 'directConnection=true').getDB('admin').runCommand({ hello: 1 }).setName || '';
}

// A member that has lost its volume belongs to no set, and the others take it back by themselves. So a new set is made only where
// every member answers and none belongs to one: anything else would split the data in two.
const state = patiently('the members', () => {
  let missing = null;
  for (const member of members) {
    try {
      if (setOf(member) === SET) return 'there is';
    } catch (error) {
      missing = error;
    }
  }
  if (missing) throw missing;
  return 'to be made';
});
if (state === 'to be made') {
  const config = { _id: SET, members: members.map((host, id) => ({ _id: id, host })) };
  const answer = connect(members[0], 'directConnection=true').getDB('admin').runCommand({ replSetInitiate: config });
  // Another run of this may have been faster.
  if (!answer.ok && answer.codeName !== 'AlreadyInitialized') throw new Error(`replSetInitiate: ${answer.errmsg}`);
  print(`initiated ${SET} with ${members.join(', ')}`);
} else {
  print(`${SET} is there already`);
}

const admin = patiently('a primary', () => {
  const found = connect(members.join(','), `replicaSet=${SET}`).getDB('admin');
  return found.runCommand({ hello: 1 }).isWritablePrimary && found;
});

const users = !key ? [] : [
  // For people: `mongosh -u root`. Nothing of ours uses it but the rotation of passwords.
  { name: 'root', password: 'root-password', roles: [{ role: 'root', db: 'admin' }] },
  // The service: it makes its own indexes and validators, which is why it needs dbAdmin. A new name makes a second user beside the
  // first, so that the service can move over.
  {
    name: secret('api-user'),
    password: 'api-password',
    roles: [
      { role: 'readWrite', db: database },
      { role: 'dbAdmin', db: database },
    ],
  },
  { name: 'backup', password: 'backup-password', roles: [{ role: 'read', db: database }] },
];
for (const { name, password, roles } of users) {
  const wanted = { pwd: secret(password), roles };
  if (admin.getUser(name)) {
    admin.updateUser(name, wanted);
    print(`user ${name}: brought in line`);
  } else {
    admin.createUser({ user: name, ...wanted });
    print(`user ${name}: made`);
  }
}
print('done');
