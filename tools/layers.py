#!/usr/bin/env python3
"""Proves that dependencies point one way: layers.py SOURCE_ROOT BUILD_DIR. Prints TAP.

Every room includes only the rooms that it may; a library is included only in the rooms that it belongs to; and the pure rooms
(core, codec) import no symbol of I/O, clocks, randomness or threads, and none of libcrypto that draws randomness or time."""
import pathlib
import re
import subprocess
import sys

ROOMS = {
    "base": set(),
    "codec": {"base"},
    "keys": {"base", "codec"},
    "core": {"base", "codec"},
    "db": {"base"},
    "store": {"base", "codec", "core", "db"},
    "http": {"base"},
    "push": {"base", "codec", "core", "keys", "store"},
    "probe": {"base", "codec", "core", "http"},
    "service": {"base", "codec", "core", "keys", "store"},
    "server": {"base", "codec", "core", "keys", "store", "http", "push", "probe", "service"},
    "sim": {"base", "codec"},
    "cli": {"base", "codec", "core", "keys", "http", "probe", "server", "sim"},
}
LIBRARIES = {
    r"sqlite3\.h": {"db"},
    r"libpq-fe\.h": {"db", "store/postgres_test.c"},
    r"event2/.*": {"http"},
    r"curl/.*": {"http", "sim"},
    r"nghttp2/.*": {"push", "sim"},
    r"expat\.h": {"codec"},
    r"zlib\.h": {"store"},
    r"qrencode\.h": {"codec"},
}
PURE = {"core", "codec"}
FORBIDDEN = re.compile(
    r"^(open|openat|creat|read|write|pread|pwrite|close|fopen|fclose|fread|fwrite|fprintf|printf|puts|putchar|vprintf|perror|socket|connect|bind|listen|accept|send|recv|"
    r"poll|select|epoll_.*|ioctl|fork|exec.*|system|popen|getenv|secure_getenv|"
    r"time|clock_gettime|gettimeofday|clock|localtime.*|mktime|sleep|usleep|nanosleep|getrandom|getentropy|rand|srand|random|srandom|arc4random.*|"
    r"pthread_.*|g_thread_.*|g_mutex_.*|g_random_.*|g_rand_.*|g_uuid_string_random|g_get_real_time|g_get_monotonic_time|g_date_time_new_now.*|g_file_.*|g_print|g_printerr|"
    r"RAND_.*|EVP_PKEY_keygen.*|EVP_PKEY_generate|EVP_PKEY_Q_keygen|EVP_RSA_gen|EVP_EC_gen|EVP_PKEY_encrypt|EVP_SealInit|"
    r"CMS_encrypt|CMS_EnvelopedData_create.*|CMS_sign|CMS_final.*|CMS_decrypt.*|CMS_dataFinal|PKCS7_.*|PKCS12_create|X509_sign.*|X509_REQ_sign.*|X509_CRL_sign.*|"
    r"EVP_DigestSign.*|EVP_Sign.*|EVP_PKEY_sign.*|X509_verify_cert|X509_STORE_CTX_verify|X509_gmtime_adj|X509_time_adj.*|X509_cmp_current_time|ASN1_TIME_set_string_now|BIO_new_file|BIO_new_fp|BIO_s_file|BIO_s_connect)$")
# Symbols that are pure as used in one object file: with a time given (X509_VERIFY_PARAM_set_time) no clock is read.
ALLOWED = {"cert_chain.c.o": {"X509_verify_cert"}}
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.M)

count = 0
failed = 0


def report(problems, name):
    global count, failed
    count += 1
    if problems:
        failed += 1
    print(f"{'not ok' if problems else 'ok'} {count} - {name}")
    for p in problems:
        print(f"# {p}")


def check_includes(root):
    for room, allowed in ROOMS.items():
        problems = []
        for path in sorted((root / "src" / room).rglob("*.[ch]")) + sorted((root / "src" / room).rglob("*.inc")):
            is_test = path.stem.endswith(("_test", "_fuzz")) or path.stem in ("testkit", "test_fixture")
            for name in INCLUDE.findall(path.read_text()):
                other = name.split("/")[0]
                # Where a test gets its database from: either engine's, made for it.
                if is_test and name == "db/testkit.h":
                    continue
                if "/" in name and other in ROOMS and other != room and other not in allowed:
                    problems.append(f"{path.relative_to(root)} includes {name}: {room} may use {', '.join(sorted(allowed)) or 'nothing'}")
                for pattern, rooms in LIBRARIES.items():
                    here = str(path.relative_to(root / "src"))
                    if re.fullmatch(pattern, name) and room not in rooms and here not in rooms and not is_test:
                        problems.append(f"{path.relative_to(root)} includes {name}, which belongs to {', '.join(sorted(rooms))}")
        report(problems, f"includes of {room}")
    rooms_on_disk = {p.name for p in (root / "src").iterdir() if p.is_dir()}
    report([f"src/{r} has no row in tools/layers.py" for r in sorted(rooms_on_disk - set(ROOMS))], "every room has its row")


def check_symbols(build):
    for room in sorted(PURE):
        library = build / "src" / room / f"lib{room}.a"
        out = subprocess.run(["nm", "-u", "--format=posix", str(library)], capture_output=True, text=True, check=True).stdout
        member, symbols = "", set()
        for line in out.splitlines():
            if line.endswith("]:"):
                member = re.split(r"[\[/]", line[:-2])[-1]
            elif " U" in line:
                symbols.add((member, line.split()[0].split("@")[0]))
        problems = [f"{room} imports {s} in {m}" for m, s in sorted(symbols) if FORBIDDEN.match(s) and s not in ALLOWED.get(m, set())]
        if len(symbols) < 20:
            problems.append(f"only {len(symbols)} symbols were read from {library}: the check sees nothing")
        report(problems, f"symbols of {room}")


def main():
    root, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    check_includes(root)
    check_symbols(build)
    print(f"1..{count}")
    return 1 if failed else 0


sys.exit(main())
