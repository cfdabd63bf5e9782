from compiler.passes.canon.types import Canon

ROWS: dict[str, Canon] = {}
