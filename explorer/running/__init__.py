"""One run of one graph, in a process of its own.

It imports the user's code and LangGraph, and nothing of Django. The worker that started it tells it what to
do on its standard input; what happens it tells on its standard output, a line of JSON each.
"""

from __future__ import annotations
