# Puts an archive of the component backup, the newest unless ARCHIVE names another, into a replica set that has no users yet.
set -euo pipefail

umask 077
password=$(</run/secrets/mongodb/root-password)
uri="mongodb://root:$password@$MEMBERS/?replicaSet=rs0&authSource=admin"
printf 'uri: "%s"\n' "$uri" >/tmp/mongorestore.yaml

archive=${ARCHIVE:-}
if [[ -z $archive ]]; then
    archive=$(find /backup -name '*.archive.gz' | sort | tail -n 1)
fi
[[ -s $archive ]] || { echo "there is no archive ${archive:-in /backup}" >&2; exit 1; }

# mongorestore inserts and never replaces: over existing counters it would leave a mixture of two times.
echo "const users = new Mongo(process.env.URI).getDB('$DATABASE').users.countDocuments();
if (users > 0) { print('$DATABASE holds ' + users + ' users: an archive is put into an empty database only'); quit(1); }" >/tmp/empty.js
URI=$uri mongosh --nodb --quiet /tmp/empty.js

echo "restoring $archive"
# --drop: the service has perhaps made its collections already, empty. The database's own users are those of the Secret, not those
# of the archive.
mongorestore --config=/tmp/mongorestore.yaml --gzip --archive="$archive" --oplogReplay --drop --stopOnError \
    --nsExclude='admin.*' --nsExclude='config.*'
echo restored
