"""An APNs that answers late: what is under way stays with its node, however long it takes."""
from lib.push_nodes import *


@case
def an_answer_that_comes_later_than_a_claim_holds():
    with two_nodes(apns_args=["--delay-ms", "20000"]) as (apns, log, a, b):
        tokens = fill(a, apns.topic, 20)
        wait_for("all are under way", lambda: len(pushed(log)) == 20, 60)
        wait_for("all are answered", lambda: n_owed(a) == 0, 60)
        each_once(log, tokens)
        equal(n_claimed(a), 0, "claims that are left")


if __name__ == "__main__":
    main()
