"""The widgets themselves, which need anywidget; each is imported when it is first shown."""
