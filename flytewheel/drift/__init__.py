"""Watch: is another turn of the loop due?"""
