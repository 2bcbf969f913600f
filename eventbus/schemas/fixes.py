"""The way out of each kind of problem, in a sentence or two."""

from eventbus.schemas.findings import Finding, Rule

_FIXES: dict[Rule, str] = {
    Rule.REQUIRED_MISSING: "Give it a load_default, or let it be optional; or supply it in an upcaster.",
    Rule.TYPE_REFUSED: "Keep the type and add a field of the new type beside it, or convert it in an upcaster.",
    Rule.NULL_REFUSED: "Keep allow_none=True where it is read, or leave the field out instead of writing null.",
    Rule.VALUE_REFUSED: "Keep reading the value until no version writes it any more, or map it in an upcaster.",
    Rule.RANGE_NARROWED: "Keep the wider range where it is read, or bring old values into it in an upcaster.",
    Rule.MULTIPLE_CHANGED: "Keep the finer step where it is read, or round in an upcaster.",
    Rule.LENGTH_NARROWED: "Keep the wider length where it is read, or cut in an upcaster.",
    Rule.PATTERN_NARROWED: "Keep the wider pattern where it is read, or rewrite old texts in an upcaster.",
    Rule.FORM_CHANGED: "Keep the form and add a field of the new form under another name, or convert in an upcaster.",
    Rule.SIZE_NARROWED: "Keep the wider size where it is read, or fill up or cut in an upcaster.",
    Rule.ITEMS_NOT_UNIQUE: "Drop uniqueItems where it is read, or remove doubles in an upcaster.",
    Rule.KEY_REFUSED: "Keep reading the key, or rename it in an upcaster.",
    Rule.LOSSY_COERCION: "It would load and change its value. Keep the type that holds it, or convert in an upcaster.",
    Rule.RENAMED: "If it is a rename, keep the name on the wire with data_key, or use an upcaster with rename().",
    Rule.ENTRIES_PRUNED: "Keep a Dict where any key may come, or name the keys that matter in an upcaster.",
    Rule.READ_FIELD_DROPPED: "Keep the field until no group reads it any more, or restore it in a downcaster.",
    Rule.CANNOT_TELL: "Leave that part as it is, or bridge the versions with an upcaster and a downcaster.",
}


def fix_for(finding: Finding) -> str:
    """What the author of the change can do about *finding*."""
    told = f"{finding.reason[:1].upper()}{finding.reason[1:]}. " if finding.reason else ""
    return f"{told}{_FIXES[finding.rule]}"


def fix_for_rule(rule: Rule) -> str:
    """The same for a problem that no comparison of two schemas found."""
    return _FIXES[rule]
