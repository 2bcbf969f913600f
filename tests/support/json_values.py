"""Arbitrary JSON values, for properties."""

from hypothesis import strategies as st

#: Text that JSON and PostgreSQL can carry: no NUL, no lone surrogate.
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e16, 1e22, 1e23, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 123456789012345680.0, 2.0**64, 1e-7]),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
