"""Makes the pictures of the web page: ``python -m tests.page.screenshots FOLDER``, in a minute and a half.

A real agent on a copy of the example cluster, whose pods move; an object that cannot be read, and deletes withheld.
"""

import os
import random
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import Page

from statedb.agent.process.agent import Agent
from statedb.agent.process.config import parse_config

from . import chromium

EXAMPLE = Path(__file__).parents[2] / "examples" / "cluster"
SIZES = ((1440, 900), (820, 1100), (390, 844))
PLACES = {
    "flow": "",
    "table": "#/table/endpoints",
    "row": "#/table/endpoints/cluster1/10.244.2.21",
    "trouble": "#/trouble",
}
_WARM_UP_S = 70
_POD = """\
apiVersion: cilium.io/v2
kind: CiliumEndpoint
metadata: {{name: checkout-{number}, namespace: shop}}
status:
  identity: {{id: {identity}}}
  networking: {{node: 172.18.0.{node}, addressing: [{{ipv4: 10.244.{node}.{number}}}]}}
"""


def main(folder: Path) -> None:
    """Make all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        cluster = Path(scratch) / "cluster"
        shutil.copytree(EXAMPLE, cluster)
        with Agent(_config(cluster)) as agent, chromium.browser() as browser:
            assert agent.wait_synced(30)
            stopping = threading.Event()
            mover = threading.Thread(target=_move_pods, args=(cluster, stopping))
            mover.start()
            for scheme in ("light", "dark"):
                for width, height in SIZES:
                    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                    page.goto(agent.address)
                    if (scheme, width) == ("light", SIZES[0][0]):
                        page.wait_for_timeout(_WARM_UP_S * 1000)
                    _shoot(page, agent.address, folder, f"{width}-{scheme}")
                    page.close()
            stopping.set()
            mover.join()


def _config(cluster: Path):
    return parse_config(
        "cluster: {name: cluster1, id: 1}\n"
        f"ingest: {{manifests: {{directory: '{cluster}', rescan-s: 0.1}}}}\n"
        "consumers: [ipcache, routes, loadbalancer, selectors]\nhttp: {listen: '127.0.0.1:0'}\n"
    )


def _move_pods(cluster: Path, stopping: threading.Event) -> None:
    choose = random.Random(7)
    text = _POD.format(number=240, identity=65621, node=2)
    _write(cluster / "broken.yaml", text.replace("10.244.2.240", "10.244.2.2400").replace("checkout-240", "broken"))
    while not stopping.wait(choose.choice([0.4, 0.8, 2.0])):
        pods = [
            _POD.format(number=number, identity=choose.choice([65621, 65628]), node=choose.choice([2, 3, 4]))
            for number in choose.sample(range(200, 230), choose.randrange(3, 20))
        ]
        _write(cluster / "checkout.yaml", "---\n".join(pods))


def _write(path: Path, text: str) -> None:
    hidden = path.with_name(f".{path.name}")
    hidden.write_text(text)
    os.replace(hidden, path)


def _shoot(page: Page, address: str, folder: Path, name: str) -> None:
    for place, where in PLACES.items():
        page.goto(f"{address}/{where}")
        page.wait_for_selector("#link.good")
        page.wait_for_timeout(1500)
        page.screenshot(path=folder / f"{place}-{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
