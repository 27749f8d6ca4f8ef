"""States taken apart and put together by their bytes, so that values are never decoded, and never changed."""
