"""How the portal's server runs: small and quiet."""

workers = 1
worker_class = "gthread"
threads = 4
# Otherwise a socket is put into the user's home directory.
control_socket_disable = True
