"""Who is champion, and how that changes: promotion, approval, rollback."""
