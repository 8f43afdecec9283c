"""How the dashboards' server runs: quiet, and writing nothing outside FLEETMART_HOME."""

workers = 2
worker_class = "gthread"
threads = 8
timeout = 120
# Otherwise a socket is put into the user's home directory.
control_socket_disable = True
