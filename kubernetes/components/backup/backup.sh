# One consistent archive of the whole replica set, then the old ones are removed. Half an archive never bears an archive's name.
set -euo pipefail

# A file, for arguments can be read by others.
umask 077
password=$(</run/secrets/mongodb/backup-password)
printf 'uri: "mongodb://backup:%s@%s/?replicaSet=rs0&authSource=admin&readPreference=secondaryPreferred"\n' "$password" "$MEMBERS" >/tmp/mongodump.yaml

archive=/backup/$(date -u +%Y%m%dT%H%M%SZ).archive.gz
# --oplog: what is written meanwhile is taken along, so that all collections are of one moment.
mongodump --config=/tmp/mongodump.yaml --oplog --gzip --archive="$archive.part"
gzip --test "$archive.part"
sync "$archive.part"
mv "$archive.part" "$archive"

find /backup -name '*.archive.gz*' -mtime "+$KEEP_DAYS" -delete
echo "made $archive, $(stat --format=%s "$archive") bytes"
ls -l /backup
