"""Which architectures can be trained here: found out on a miniature of each, before anything is paid for."""
