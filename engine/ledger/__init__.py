"""What a split leaves in its destination besides the parts: plan, lock, receipts, manifest."""
