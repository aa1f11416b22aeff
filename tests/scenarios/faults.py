"""Faults of the machine: a disk that cannot sync, no descriptors left, idle crowds, a full queue, a stop that must not hang."""
import concurrent.futures
import contextlib
import resource
import subprocess
import threading

from harness import *


def skip(why):
    raise Skip(why)


def eventually(check, what, seconds=20):
    until = time.time() + seconds
    while time.time() < until:
        if check():
            return
        time.sleep(0.05)
    raise AssertionError(what)


@contextlib.contextmanager
def failing_syncs(pid):
    """Every fsync of the process fails with EIO from here on."""
    if not shutil.which("strace"):
        skip("strace is not installed")
    tracer = subprocess.Popen(["strace", "-f", "-p", str(pid), "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        line = tracer.stderr.readline()
        if "attached" not in line:
            skip("this machine does not allow tracing: " + line.strip())
        threading.Thread(target=tracer.stderr.read, daemon=True).start()
        yield
    finally:
        if tracer.poll() is None:
            tracer.terminate()
        tracer.wait(10)


@case
def a_failed_fsync_ends_the_process():
    with Server() as s:
        d = s.enroll()
        kept = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
        with failing_syncs(s.process.pid):
            status = None
            with contextlib.suppress(OSError, http.client.HTTPException):
                status = s.api("POST", f"/api/v1/devices/{d.udid}/commands", {"RequestType": "SecurityInfo"})[0]
            expect(status is None or status >= 500, f"acknowledged with {status} what is not on the disk")
            expect(s.process.wait(10) != 0, "the process ended as if nothing were wrong")
        expect("fsync failed" in s.logs(), "the log does not say why")
        d.connection = None
        s.start()
        equal(s.api("GET", "/readyz", token="none")[0], 200)
        waiting = [c["command_uuid"] for c in s.cli("command", "list", d.udid)]
        equal(waiting[0], kept, "what was acknowledged before")
        equal(d.idle()[1]["CommandUUID"], kept)
        equal(s.api("POST", f"/api/v1/devices/{d.udid}/commands", {"RequestType": "CertificateList"})[0], 201)


def open_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@case
def no_descriptors_left():
    with Server() as s:
        d = s.enroll()
        d.connection = None
        soft, hard = resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, (open_descriptors(s.process.pid) + 8, hard))
        crowd = []
        try:
            for _ in range(40):
                crowd.append(socket.create_connection(("127.0.0.1", s.port), 5))
            time.sleep(0.5)
            equal(s.process.poll(), None, "the server has gone")
        finally:
            for c in crowd:
                c.close()
        eventually(lambda: d.idle()[0] == 200, "it does not heal when descriptors are free again")
        resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE, (soft, hard))


@case
def a_crowd_that_says_nothing():
    with Server() as s:
        d = s.enroll()
        d.connection = None
        crowd = [socket.create_connection(("127.0.0.1", s.port), 5) for _ in range(200)]
        try:
            uuid = s.cli("command", "send", d.udid, "ProfileList")["command_uuid"]
            started = time.time()
            equal(d.idle()[1]["CommandUUID"], uuid)
            equal(d.report(uuid), (200, b""))
            expect(time.time() - started < 3, f"a good device waited {time.time() - started:.1f} s")
            # Each is cut at the deadline of the handshake.
            crowd[0].settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                equal(crowd[0].recv(1), b"")
        finally:
            for c in crowd:
                c.close()


@case
def a_full_queue():
    with Server("--set", "server.workers=1", "--set", "server.queue=1") as s:
        devices = [s.enroll() for _ in range(3)]
        ca = s.request("GET", "/scep?operation=GetCACert")[1]
        refused, ready = [], threading.Barrier(12)

        def one(i):
            # A SCEP request keeps the only worker busy for longest.
            key, signer_key = rsa_key(), rsa_key()
            signer = self_signed(signer_key, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "t")]))
            message = scep_message(make_csr(key, challenge="wrong"), ca, signer_key, signer)
            ready.wait(60)
            statuses = []
            for _ in range(10):
                status, _, headers = s.request("POST", "/scep?operation=PKIOperation", message)
                statuses.append(status)
                if status == 503:
                    refused.append(headers.get("retry-after"))
            return set(statuses)
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            seen = set().union(*pool.map(one, range(12)))
        expect(seen <= {200, 503} and 503 in seen, f"statuses {seen}")
        expect(all(r and int(r) > 0 for r in refused), "503 without Retry-After")

        def until_served(d):
            for _ in range(50):
                d.connection = None
                if d.idle()[0] == 200:
                    return True
                time.sleep(0.1)
            return False
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            expect(all(pool.map(until_served, devices)), "a device that comes again is not served")
        expect("reason=POM-E0008" in s.logs(), "the refusal is not in the log")


@case
def a_stop_ends_in_time():
    """A request that never comes to its end, and an APNs that never answers, hold the stop for ten seconds at most."""
    with socket.create_server(("127.0.0.1", 0)) as silent, Server("--apns-url", f"https://127.0.0.1:{silent.getsockname()[1]}") as s:
        d = s.enroll()
        s.cli("device", "push", d.udid)
        c = s.tls().wrap_socket(socket.create_connection(("127.0.0.1", s.port)), server_hostname="127.0.0.1")
        c.sendall(b"PUT /mdm HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
        time.sleep(0.5)
        started = time.time()
        equal(s.stop(), 0, "exit status")
        expect(time.time() - started < 14, f"the stop took {time.time() - started:.1f} s")
        c.close()
        s.start()
        equal(s.metric("pomona_push_backlog") >= 0, True)
        started = time.time()
        equal(s.stop(), 0, "exit status")
        expect(time.time() - started < 3, f"a stop with nothing to finish took {time.time() - started:.1f} s")


# fdatasync sleeps while the file exists.
SLOW_DISK = """
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int fdatasync(int fd) { if (access(getenv("POMONA_TEST_SLOW"), F_OK) == 0) sleep(30); return (int)syscall(SYS_fdatasync, fd); }
"""


@case
def a_stop_does_not_wait_for_a_dead_disk():
    with tempfile.TemporaryDirectory() as root:
        source, library, flag = (os.path.join(root, n) for n in ("slow.c", "slow.so", "flag"))
        pathlib.Path(source).write_text(SLOW_DISK)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        sanitizers = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0", "TSAN_OPTIONS": os.environ.get("TSAN_OPTIONS", "") + ":atexit_sleep_ms=0"}
        with Server(env={"LD_PRELOAD": library, "POMONA_TEST_SLOW": flag, **sanitizers}) as s:
            d = s.enroll()
            pathlib.Path(flag).touch()

            def send():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    s.api("POST", f"/api/v1/devices/{d.udid}/commands", {"RequestType": "SecurityInfo"})
            thread = threading.Thread(target=send)
            thread.start()
            time.sleep(0.5)
            started = time.time()
            equal(s.stop(), 0, "exit status")
            expect(time.time() - started < 10.5, f"the stop took {time.time() - started:.1f} s")
            thread.join()
            expect("stopping took too long" in s.logs(), "the log does not say what happened")


if __name__ == "__main__":
    main()
