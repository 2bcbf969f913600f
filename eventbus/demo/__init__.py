"""The demonstration: what the bus promises, shown on real servers and real worker processes, and proven from the database.

python -m eventbus.demo [FILE]

    __main__ ─▶ stage      servers, a folder with a copy of the sample services, their worker processes, a publisher
           └──▶ story      steps (a) to (i), each of which ends with figures; recovery has the last three
                  └──▶ evidence   the figures, read from PostgreSQL and from nowhere else
"""
