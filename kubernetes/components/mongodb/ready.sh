# Is the member beside us primary or secondary? Ends with 0 if so.
#
# mongosh would take a second of CPU each time, on every member, every few seconds. So the question, { hello: 1, $db: "admin" },
# is sent as the 52 bytes that it is in MongoDB's wire protocol, and the answer is searched for the two fields that are true.
set -euo pipefail

exec 3<>/dev/tcp/127.0.0.1/27017
printf '\x34\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x1f\0\0\0\x10hello\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0' >&3
length=$(timeout 4 head -c 4 <&3 | od -An -tu4)
timeout 4 head -c $((length - 4)) <&3 | LC_ALL=C grep -aqP '(isWritablePrimary|secondary)\x00\x01'
