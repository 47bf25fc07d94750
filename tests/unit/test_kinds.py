"""Kinds derived from type names."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from awa_lib.enqueue.kinds import derive_kind, kind_of, kind_of_type
from awa_lib.errors import ValidationError


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SendEmail", "send_email"),
        ("SMTPEmail", "smtp_email"),
        ("OAuthRefresh", "o_auth_refresh"),
        ("PDFRenderJob", "pdf_render_job"),
        ("ProcessV2Import", "process_v2_import"),
        ("ReconcileQ3Revenue", "reconcile_q3_revenue"),
        ("HTMLToPDF", "html_to_pdf"),
        ("IOError", "io_error"),
        ("A1B", "a1_b"),
        ("Foo_Bar", "foo_bar"),
        ("_Foo", "_foo"),
        ("ÉcoleJob", "école_job"),
        ("dict", "dict"),
        ("X", "x"),
        # Letter by letter, as the published wheel answers.
        ("ΟΔΟΣ", "οδοσ"),
        ("İx", "ix"),
        ("aǅ", "aǅ"),
        ("²Ab", "²ab"),
    ],
)
def test_derive_kind_golden(name: str, kind: str) -> None:
    assert derive_kind(name) == kind


@dataclass
class SendEmail:
    to: str = ""

    class Inner:
        pass


@pytest.mark.parametrize(
    ("args", "kind"),
    [(SendEmail, "send_email"), (SendEmail(), "send_email"), (SendEmail.Inner, "inner"),
     ({"a": 1}, "dict"), (dict, "dict")],
)  # fmt: skip
def test_kind_of_type_and_object(args: object, kind: str) -> None:
    assert kind_of(args) == kind


def test_a_name_is_no_args_type() -> None:
    with pytest.raises(TypeError) as caught:
        kind_of_type("send_email")

    assert str(caught.value) == (
        "the first argument is the type of the args, got 'send_email';"
        " for dict args give dict, kind='send_email'"
    )


def test_kind_given_wins() -> None:
    assert kind_of(SendEmail(), "mail.send") == "mail.send"


@pytest.mark.parametrize("kind", ["", "x" * 201, "a\x00b", 7, b"mail"])
def test_kind_out_of_bounds(kind: object) -> None:
    with pytest.raises(ValidationError, match="kind must be 1 to 200"):
        kind_of({}, kind)  # type: ignore[arg-type] # the wrong types are the point
    assert kind_of({}, "x" * 200) == "x" * 200
