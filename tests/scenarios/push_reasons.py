"""What APNs can say to a push: every reason, and what becomes of the push, of its token, and of the topic."""
from lib.apns_peer import *

# What becomes of a push that is refused for this reason: retry (later), dead (the token), hour (a fault of ours).
REASONS = {
    "BadDeviceToken": "dead", "DeviceTokenNotForTopic": "dead", "Unregistered": "dead", "ExpiredToken": "dead", "TooManyRequests": "retry", "InternalServerError": "retry",
    "ServiceUnavailable": "retry", "TooManyProviderTokenUpdates": "retry", "BadCollapseId": "hour", "BadExpirationDate": "hour", "BadMessageId": "hour", "BadPriority": "hour",
    "DuplicateHeaders": "hour", "InvalidPushType": "hour", "MissingDeviceToken": "hour", "PayloadEmpty": "hour", "BadPath": "hour", "MethodNotAllowed": "hour", "PayloadTooLarge": "hour",
}
STOPPING = ["TopicDisallowed", "BadTopic", "MissingTopic", "BadCertificate", "BadCertificateEnvironment", "Forbidden", "MissingProviderToken", "InvalidProviderToken", "ExpiredProviderToken"]


def dead_tokens(s):
    return {row[0] for row in s.sql("SELECT push_token FROM epoch WHERE push_dead_at > 0")}


@case
def every_reason_for_one_push():
    tokens = {reason: secrets.token_bytes(32) for reason in REASONS}
    names = list(REASONS)
    fails = [a for reason, token in tokens.items() for a in ("--fail", f"{token.hex()}={reason}")]
    with Apns(*fails) as apns, server(apns) as s:
        s.stop()
        fill(s, apns.topic, len(names), lambda i: tokens[names[i]])
        s.start()
        started = time.time() * 1000
        eventually(lambda: len(dead_tokens(s)) == 4 and all(r["attempts"] for r in outbox(s)), "all are answered")
        equal(dead_tokens(s), {tokens[r] for r, what in REASONS.items() if what == "dead"})
        rows = {int(r["enrollment_id"][-12:], 16): r for r in outbox(s)}
        for i, reason in enumerate(names):
            equal(i in rows, REASONS[reason] != "dead", f"{reason}: in the outbox")
            if i in rows:
                wait = (rows[i]["due_at"] - started) / 1000
                low = 3000 if REASONS[reason] == "hour" else 50 if reason == "TooManyRequests" else 0
                expect(wait > low, f"{reason}: again in {wait} s")
            equal(s.metric(f'pomona_pushes_total{{result="{reason}"}}'), 1, reason)
        equal(push_status(s)["dead_tokens"], 4)


@case
def every_reason_that_stops_the_topic():
    now = {"reason": None}

    def answer(apns, c, stream):
        apns.respond(c, stream, 200 if now["reason"] is None else 400 if "Topic" in now["reason"] else 403, now["reason"])
    with OddApns(answer) as apns, server(apns) as s:
        d = s.enroll()
        for n, reason in enumerate(STOPPING, 1):
            now["reason"] = reason
            s.cli("device", "push", d.udid)
            eventually(lambda: push_status(s)["state"] == "stopped", f"{reason} stops the topic")
            status = push_status(s)
            equal((status["error"]["id"], status["error"]["reason"]), ("POM-E6046", reason))
            expect(status["paused_until"] and status["owed"] == 1, f"{reason}: {status}")
            equal(s.metric(f'pomona_push_stopped{{topic="{TOPIC}"}}'), 1, reason)
            expect(sum("pushes are stopped" in line for line in s.logs().splitlines()) == n, f"{reason}: one alarm")
            now["reason"] = None
            # A person tries again, after having put it right.
            s.cli("device", "push", d.udid)
            s.cli("push", "resume")
            eventually(lambda: push_status(s)["state"] == "connected" and not outbox(s), f"{reason} is over")
            equal(s.metric(f'pomona_push_stopped{{topic="{TOPIC}"}}'), 0, reason)


@case
def a_goodbye_that_gives_a_reason():
    def goodbye(apns, c, stream):
        c.sendall(apns.frame(apns.GOAWAY, 0, bytes(8) + b'{"reason":"BadCertificate"}'))
        c.close()
    with OddApns(goodbye) as apns, server(apns) as s:
        s.cli("device", "push", s.enroll().udid)
        eventually(lambda: push_status(s)["state"] == "stopped", "the reason is read")
        equal(push_status(s)["error"]["reason"], "BadCertificate")


@case
def a_wrong_certificate_kills_no_fleet():
    with Apns("--quiet", "--fail", "*=DeviceTokenNotForTopic") as apns, server(apns, "--set", "push.per_second=0") as s:
        s.stop()
        fill(s, apns.topic, 300)
        s.start()
        eventually(lambda: push_status(s)["state"] == "stopped", "the topic stops")
        status = push_status(s)
        expect(status["dead_tokens"] < 20 and status["owed"] > 280, f"{status}")
        expect("not the one that the devices have enrolled with" in status["error"]["text"], f"{status}")


@case
def apns_that_asks_for_time():
    with Apns("--fail", "*=ServiceUnavailable", "--retry-after", "600") as apns, server(apns) as s:
        s.cli("device", "push", s.enroll().udid)
        eventually(lambda: push_status(s)["paused_until"], "it waits")
        until = datetime.datetime.strptime(push_status(s)["paused_until"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
        expect(300 < until.timestamp() - time.time() < 700, f"Retry-After is kept: {until}")
        expect(outbox(s)[0]["due_at"] / 1000 - time.time() > 300, "for the push too")
        equal(push_status(s)["error"]["id"], "POM-E6050")


if __name__ == "__main__":
    main()
