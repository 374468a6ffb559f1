"""What is true: money, order, attempt, payment, anomaly, and what follows from new facts.

Pure: the standard library's values in, values out. No clock, no logging, no await; whoever
calls says what time it is and writes down what was decided.
"""
