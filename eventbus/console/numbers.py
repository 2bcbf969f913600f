"""Numbers in paths: as many digits as an id can have. Starlette's own take any, and fail where Python refuses to read them."""

from starlette.convertors import Convertor, register_url_convertor


class Number(Convertor[int]):
    """A whole number that fits into a bigint."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


def know_numbers() -> None:
    """Let routes hold ``{name:number}``."""
    register_url_convertor("number", Number())
