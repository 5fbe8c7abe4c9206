"""A publisher crashed: msgspec before 0.23 let a thread use a struct type that another one had half read.

Found by tests/e2e/test_scenarios.py: two resources whose first objects were decoded in the same moment ended the
process by SIGSEGV, in some starts on a loaded machine.
"""

import subprocess
import sys

_CHILD = """
import sys, threading, msgspec

sys.setswitchinterval(1e-6)

def decode(kind, barrier):
    barrier.wait()
    msgspec.json.decode(b'{"first": 1, "last": "x"}', type=kind)

for _ in range(200):
    inner = msgspec.defstruct("Inner", [("names", list[str], [])])
    outer = msgspec.defstruct("Outer", [("first", int, 0), ("inner", inner | None, None), ("last", str, "")])
    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=decode, args=(outer, barrier)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_threads_that_use_a_nested_struct_type_first_at_once_do_not_crash():
    ended = subprocess.run([sys.executable, "-c", _CHILD], check=False, timeout=120)
    assert ended.returncode == 0
