# A fetch command of Portage's: SHARED DISTDIR FILE DIGESTS COMMAND...
#
# COMMAND is what would download FILE into DISTDIR. Portage's own lock of the same file in SHARED, the DISTDIR that all jobs
# of this builder share, is held meanwhile, so that who waits for it finds there what the one before has downloaded.
import hashlib
import os
import shutil
import subprocess
import sys

try:
    from portage.exception import PortageException
    from portage.locks import lockfile, unlockfile
except ImportError:  # Portage runs under another python
    os.execvp(sys.argv[5], sys.argv[5:])

shared, distdir, file, digests, *command = sys.argv[1:]
name = file[: -len(".__download__")] if file.endswith(".__download__") else file
here, there = os.path.join(distdir, file), os.path.join(shared, name)


def verified(path):
    known = [d.split(":", 1) for d in digests.split() if d.startswith(("blake2b:", "sha512:"))]
    if not known or os.path.islink(path) or not os.path.isfile(path):
        return False
    sums = [(hashlib.new(algorithm), digest.lower()) for algorithm, digest in known]
    with open(path, "rb") as f:
        while piece := f.read(1 << 20):
            for sum, _ in sums:
                sum.update(piece)
    return all(sum.hexdigest() == digest for sum, digest in sums)


def publish():
    part = os.path.join(shared, "." + name + ".lantage")
    try:
        os.unlink(part)  # of a job that was killed; or a link that somebody would have us follow
    except FileNotFoundError:
        pass
    try:
        with open(here, "rb") as whole, open(part, "xb") as out:
            shutil.copyfileobj(whole, out, 1 << 20)
        os.rename(part, there)
    except OSError:
        os.unlink(part)
        raise


try:
    lock = lockfile(there, wantnewlockfile=1)
except (PortageException, OSError):  # the shared directory is of no use; what is downloaded is
    os.execvp(command[0], command)
try:
    if verified(there):
        shutil.copyfile(there, here)
        status = 0
    else:
        status = subprocess.call(command)
        if status == 0 and verified(here):
            try:
                publish()
            except OSError as e:  # no room for both, for instance
                print("lantage: other jobs do not find", file, "because:", e, file=sys.stderr)
finally:
    unlockfile(lock)
sys.exit(status)
