"""What the broker tells Prometheus. Nothing is counted here: what others count anyway is read when somebody asks."""
