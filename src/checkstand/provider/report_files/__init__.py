"""Report files of Binance, whatever program wrote them: XLSX, XLS or text, told by content.

`sheets.py` opens a file as rows of cell text, `columns.py` knows what a header means,
`reading.py` turns rows into lines. Amounts stay text until they are Decimal.
"""
