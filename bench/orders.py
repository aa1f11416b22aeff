#!/usr/bin/env python3
"""Measures an order to many devices: orders.py [DEVICES]. POMONA names the program.

A server with DEVICES enrolled devices (rows in its database; one of them is real) is sent one order for all, one for all that match a query, and one to take it back. While that goes on the real device asks for commands
without pause: its waits tell whether the order holds up check-ins. Prints seconds, devices per second, and the waits in milliseconds."""
import pathlib
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "scenarios"))
from harness import *
from fleet import NO_APNS, FleetDevice, multiply


class Asking(threading.Thread):
    """The device that asks all the time; a command that it gets it answers."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.device, self.waits, self.over = device, [], False

    def run(self):
        while not self.over:
            start = time.monotonic()
            status, reply = self.device.idle()
            self.waits.append((time.monotonic() - start) * 1000)
            if status == 200 and reply:
                self.device.report(reply["CommandUUID"])
            time.sleep(0.005)

    def result(self):
        self.over = True
        self.join()
        waits = sorted(self.waits)
        return f"waits of a device: median {statistics.median(waits):.1f} ms, p99 {waits[int(len(waits) * 0.99)]:.1f} ms, longest {waits[-1]:.1f} ms, {len(waits)} asked"


def measure(s, device, n, what, begin, over):
    asking = Asking(device.hang_up())
    asking.start()
    start = time.monotonic()
    order = begin()
    answered = time.monotonic() - start
    while not over(order):
        time.sleep(0.02)
    took = time.monotonic() - start
    print(f"{what}: answered after {answered * 1000:.0f} ms, done after {took:.1f} s, {n / took:.0f} devices/s; {asking.result()}", flush=True)
    return order


def post(s, **body):
    status, reply, _ = s.api("POST", "/api/v1/orders", {"command": {"RequestType": "DeviceInformation", "Queries": ["OSVersion"]}, **body})
    equal(status, 202, f"{reply}")
    return reply["id"]


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100000
    with Server(*NO_APNS) as s:
        device = FleetDevice(s, product="iPhone15,2")
        device.enroll(s.link())
        device.id_now = device.id
        multiply(s, device, n)

        def state(order):
            return s.api("GET", f"/api/v1/orders/{order}")[1]

        first = measure(s, device, n, f"all of {n}", lambda: post(s, all=True), lambda o: state(o)["state"] == "done")
        start = time.monotonic()
        shown = state(first)
        print(f"order show: {(time.monotonic() - start) * 1000:.0f} ms: {shown['sent']} sent, {shown['answered']} answered", flush=True)
        second = measure(s, device, n, "all that match a query", lambda: post(s, query='serial contains "MANY" and os.version > 18'), lambda o: state(o)["state"] == "done")
        print(f"sent to {state(second)['sent']}", flush=True)
        measure(s, device, n, "taken back", lambda: s.api("DELETE", f"/api/v1/orders/{first}")[1]["id"], lambda o: state(o)["state"] == "canceled")


if __name__ == "__main__":
    main()
