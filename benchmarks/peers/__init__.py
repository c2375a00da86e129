"""The same orders through other tools. These programs run in a virtual environment of their own: no Django here."""
