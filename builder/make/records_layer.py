"""The records layer: dpkg's status alone, on top of everything, since every fix changes it."""

from __future__ import annotations

from builder.errors import MakeError
from builder.formats.tar import Entry, layer_writer
from builder.make.epoch import EPOCH
from builder.model.plan import MadeLayer, RecordsLayerPlan
from builder.tools.store import Store


def make(plan: RecordsLayerPlan, store: Store) -> MadeLayer:
    """Make the layer; the state's status must be in the store."""
    state = store.made(plan.state.cache_key)
    if state is None or state.status is None:
        raise MakeError(f"the state of {plan.state.definition} has not been made")
    status = store.read(state.status)
    with layer_writer(store, plan.compression) as writer:
        path = ""
        for part in ("var", "lib", "dpkg"):
            path = f"{path}/{part}" if path else part
            writer.add(Entry(path, "folder", 0o755, 0, 0, EPOCH))
        writer.add(Entry("var/lib/dpkg/status", "file", 0o644, 0, 0, EPOCH, size=len(status)), status)
    assert writer.layer is not None
    made = MadeLayer(plan.cache_key, writer.layer)
    store.keep(made)
    return made
