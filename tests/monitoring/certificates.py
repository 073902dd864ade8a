"""Certificates for localhost, made by openssl: key and certificate in one file."""

import subprocess


def certificate(stage, days, name="localhost"):
    """One that is its own authority, and ends in so many days; a negative number has ended already."""
    path = stage.directory / ("%s-%d.pem" % (name, days))
    key = path.with_suffix(".key")
    # `x509` takes a negative number of days where `req` does not.
    run(["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", path.with_suffix(".csr"), "-subj", "/CN=" + name])
    extensions = stage.file("extensions", "subjectAltName=DNS:%s,IP:127.0.0.1\nbasicConstraints=critical,CA:TRUE\n" % name)
    run(["openssl", "x509", "-req", "-in", path.with_suffix(".csr"), "-signkey", key, "-out", path, "-days", days, "-extfile", extensions])
    path.write_text(key.read_text() + path.read_text())
    return path


def run(arguments):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
