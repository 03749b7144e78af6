"""What is done on a schedule beside the loop itself: a look at the data every day and at the statistics every night,
retention and summaries. Each leaves a report and, where something is amiss, alarms (`reports`).
"""
