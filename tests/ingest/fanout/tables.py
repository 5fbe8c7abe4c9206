from statedb.catalog import Object, ObjectKey, objects_table
PODS = objects_table("pods", ("by_node",))
def pod(name: str, node: str = "node-1", namespace: str = "shop") -> Object:
    rest = f'{{"spec":{{"nodeName":"{node}"}}}}'
    return Object(ObjectKey("c", namespace, name), version="1", rest=rest, indexed=((node,),))
def insert(db, *rows, table=PODS):
    with db.write(table) as txn:
        for row in rows: txn[table].insert(row)
def until(db, holds):
    with db.changes(PODS) as stream:
        while not holds(db.snapshot()):
            assert stream.next(timeout=30) is not None
