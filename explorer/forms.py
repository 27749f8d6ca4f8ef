"""GET parameters, read by forms: a bad value falls back to the default and never breaks a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms

if TYPE_CHECKING:
    from django.http import QueryDict

DENSITIES = ("compact", "steps", "everything")
DEFAULT_DENSITY = "steps"
PARTS = ("values", "writes", "metadata", "delta")


class Text(forms.CharField):
    """Arbitrary text, kept as it is: ids and namespaces may begin or end with spaces."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, strip=False, **kwargs)
        self.validators = []


class Parameters(forms.Form):
    """GET parameters of one screen; `values` are the valid ones, None for the others."""

    @classmethod
    def read(cls, query: QueryDict) -> dict[str, Any]:
        form = cls(query)
        form.is_valid()
        return {name: form.cleaned_data.get(name) for name in form.fields}


class ThreadsParameters(Parameters):
    q = Text()
    before = Text()


class TimelineParameters(Parameters):
    ns = Text()
    before = Text()
    density = forms.ChoiceField(required=False, choices=[(name, name) for name in DENSITIES])


class ValueParameters(Parameters):
    ns = Text()
    part = forms.ChoiceField(required=False, choices=[(name, name) for name in PARTS])
    channel = Text()
    task = Text()
    idx = forms.IntegerField(required=False)
    path = forms.RegexField(r"^\d{1,9}(\.\d{1,9})*$", required=False)
    start = forms.IntegerField(required=False, min_value=0, max_value=10**9)


class RawParameters(Parameters):
    ns = Text()
    download = forms.BooleanField(required=False)
