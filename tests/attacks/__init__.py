"""What a tenant's people, guests, forged tokens and nobody try at the live server, and who judges what came back."""
